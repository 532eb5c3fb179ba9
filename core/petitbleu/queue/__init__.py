"""Open work: stored, claimed, given to this process's worker, and written down as it ends.

`queue` alone changes rows of open work, beside what operators do; `shares` says whose turn it is, `idempotency` and
`keys` what is a repeat, `wakeup` tells other processes. What is done with a claimed event is `delivery`'s.
"""
