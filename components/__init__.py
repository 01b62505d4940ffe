"""The Pulumi program's rooms: one component resource a file, and what they are made of."""
