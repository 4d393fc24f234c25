"""XML formats: Device -> text."""
