"""The steps from one state of the tables to the next, applied in the order of their names."""
