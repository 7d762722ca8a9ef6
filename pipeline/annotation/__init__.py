"""What people are asked to judge, and what they said: pairs of answers, single answers, documents at a limit."""
