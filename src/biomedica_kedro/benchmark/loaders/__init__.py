"""Readers of the data as distributed, by kind of format, not by data set: seven kinds cover all 40 tasks."""
