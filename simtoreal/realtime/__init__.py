"""What the control loop needs against a clock that does not wait: small wrappers around a `Policy`, and a report."""
