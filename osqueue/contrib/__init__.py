"""osqueue where people already are: one package for each framework, loaded only where that framework is."""
