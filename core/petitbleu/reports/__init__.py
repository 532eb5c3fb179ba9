"""How many events came, went out and failed: counted with what is counted, and read without a look at events.

`tally` counts in the transaction that changes an event, `rollup` makes old counts coarser, `reports` reads them.
"""
