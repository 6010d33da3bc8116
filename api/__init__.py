"""The HTTP edge: validates, authorises, translates. What a request means is decided below it."""
