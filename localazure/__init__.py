"""An embedded Azure that the unmodified SDKs and the real Pulumi engine talk to. See docs/local-azure.md."""
