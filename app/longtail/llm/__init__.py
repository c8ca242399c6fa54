"""The LLM room: prompts, items as text, tuning, and the engines that answer."""
