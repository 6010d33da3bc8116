"""rq jobs: each three sync lines that run one coroutine, and each may be repeated."""
