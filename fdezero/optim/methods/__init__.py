"""Methods of optimisation, one file a method."""
