"""Methods of optimisation, one file per method: a direction, then `descend`, which holds the rate and the sign."""
