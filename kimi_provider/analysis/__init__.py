"""From facts to findings: prompts, SQL, the one door to the model, tools, and grounding."""
