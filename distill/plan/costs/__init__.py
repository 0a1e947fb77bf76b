"""What a job costs: what it has spent (`ledger`), what a worker's hour costs (`money`), what it may
still spend (`limits`), and what is left of it will take (`estimate`, from `sampling`, `ranges`)."""
