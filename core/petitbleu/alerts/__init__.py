"""Whether all is well with the installation, who is told when it is not, and an event that proves it.

`thresholds` judges values and asks nobody; `alerting` measures, once for all processes; `notifying` tells people past
the queue; `watchdog` pushes an event through everything. Whether this process is fit for work is not asked here but in
`health`.
"""
