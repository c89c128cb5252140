"""What schemathesis cannot know by itself: how a backup is sent."""

import schemathesis


@schemathesis.serializer("application/vnd.sentrazone.backup")
def backup(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()
