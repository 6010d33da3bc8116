"""The work behind the API: each role is one small file with one pass to test and one dull loop to run it."""
