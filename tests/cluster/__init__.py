"""The same results on a Ray cluster of several nodes, and what happens when parts of it die."""
