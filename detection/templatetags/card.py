"""The little markup of the model card's texts, as HTML."""

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def markup(text: str) -> SafeString:
    """Escape a text, then turn `**bold**` and backticks for code into their elements."""
    escaped = escape(text)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    # Safe: everything that was not put in by the two substitutions has been escaped before.
    return mark_safe(re.sub(r"`(.+?)`", r"<code>\1</code>", escaped))
