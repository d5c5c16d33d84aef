"""The report of each kind of job."""
