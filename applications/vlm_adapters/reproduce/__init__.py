"""The paper's tables and figure 3 as scripts: what each table runs, and how a script is called."""
