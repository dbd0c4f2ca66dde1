"""The turn engine: begin, run, finish, and the log that followers read."""
