"""The closed world of hadal-tiny: everything it is asked and everything it answers."""
