"""What one job costs, as ratios taken in one run. `make bench` runs all of it; docs/performance.md explains it."""
