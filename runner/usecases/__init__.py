"""What a person or an agent can ask for, one module per use case. They return values and print nothing."""
