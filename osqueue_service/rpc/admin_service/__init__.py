"""AdminService, for operators: one module for each noun that its RPCs are about."""
