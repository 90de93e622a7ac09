"""`python -m appliance`: argv to a command, nothing else."""

from appliance.cli import main

if __name__ == "__main__":
    main()
