"""Runs of networks on constrained tasks: FedPPO and federated natural gradients."""
