"""The local stack, supervised: Prefect, MLflow and Ray Serve on this machine."""
