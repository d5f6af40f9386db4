"""What the file of an export is called."""


def of(customer: str) -> str:
    """Letters and digits of the name, and nothing that leads into another folder."""
    plain = "".join(char for char in customer.lower() if char.isalnum())
    return f"orders-{plain or 'customer'}.csv"
