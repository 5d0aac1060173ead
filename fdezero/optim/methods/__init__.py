"""Methods of optimisation, one file a method: a direction, then `descend`, which holds the rate and the sign."""
