"""The LLMs: prompts, items as text, tuning, and the vLLM engines that answer prompts."""
