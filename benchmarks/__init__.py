"""Published results, measured again: ``python -m benchmarks.published`` lists the tables."""
