"""A provider that needs no key: paced streams, recorded answers, and faults on demand."""
