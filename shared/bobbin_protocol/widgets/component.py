"""What all widget components have in common (reference: ``widgets.py``, ``WidgetComponentBase``)."""

from bobbin_protocol.wire import Wire


class WidgetComponentBase(Wire):
    key: str | None = None
    """Tells siblings apart when a list of them changes."""
    id: str | None = None
    """What updates of the component refer to."""
