"""`studio`, the command line: speaks to the API over HTTP and starts roles by command line, in no other way."""
