"""The advisory notice that stands on every face of a model: card, chat page, served answers, terminal.

It is one text in one place so that no face can soften it. It is not legal advice and replaces no regulation.
"""

NOTICE = (
    "This model is research software. It is not a medical device, and no authority has cleared it for any clinical purpose. "
    "Do not use it, or anything it writes, to diagnose a patient, to choose, change or stop a treatment, or to decide whether care is "
    "needed. It can state falsehoods fluently, leave out what matters, and repeat the biases of the texts it was trained on. Before any "
    "use near patients it must be aligned with that particular use and tested for it by qualified people, with randomised controlled "
    "trials where the use warrants them. In an emergency call the local emergency number."
)

NOTICE_SHORT = "Research software, not a medical device: never use it for diagnosis or treatment decisions."
