"""Planning: which operations form a group, and where every value lives."""
