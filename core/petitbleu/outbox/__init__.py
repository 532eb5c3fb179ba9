"""What plugins are told without fail.

`notices` makes rows that whoever changes an event stores together with the change; `telling` tells them until they have
arrived, `waiting` counts them, `desk` is for operators. Only what stands here reads the rows again.
"""
