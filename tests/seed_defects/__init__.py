"""One test or more for each defect of the seed, by number, with exact oracles."""
