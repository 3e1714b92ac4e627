"""The osqueue broker: a job queue held in memory and kept in a bucket."""
