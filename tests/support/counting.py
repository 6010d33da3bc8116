"""A script that shows how often it was executed: the one thing no script of ours may do."""

import hashlib
from typing import Final

from broker.connection import Script

_TEXT: Final = "return redis.call('INCR', KEYS[1])"
COUNT_UP: Final = Script("count up", _TEXT, hashlib.sha1(_TEXT.encode()).hexdigest())
