"""What people start: the command line, declared jobs, submission to a cluster, sample clips."""
