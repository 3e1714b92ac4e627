"""A stage on AWS: one CloudFormation stack with brokers, gateway, bucket and all that is between them."""
