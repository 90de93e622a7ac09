"""What watches the gateway: dashboards, rules and the stack that runs them. No part of the program imports it."""
