"""The course's questions: one module a lesson, each with its QUESTIONS."""
