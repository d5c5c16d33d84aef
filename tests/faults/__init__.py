"""Whatever goes wrong from outside: nothing is lost, nothing is done twice, and what went wrong is said."""
