"""What must not be on the page."""

MAIL, PHONE = "hannah.weiss@harbour-mail.org", "+44 20 7946 0958"
