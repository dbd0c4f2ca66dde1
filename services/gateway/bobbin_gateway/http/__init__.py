"""The gateway's HTTP surface: it decodes, hands over, and sends; it decides nothing about turns."""
