"""Forms of the account pages and of the user administration."""

from collections.abc import Iterator

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Submit
from django import forms
from django.contrib.auth import forms as auth_forms
from django.core.cache import cache

from accounts.models import User
from accounts.roles import ROLES

RESET_PAUSE_SECONDS = 60


def form_helper(*, label: str) -> FormHelper:
    helper = FormHelper()
    helper.add_input(Submit("submit", label, css_class="btn btn-primary w-100"))
    return helper


def role_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[("", "---------")] + [(name, name.capitalize()) for name in ROLES],
        help_text="What this person may do. Administrators and auditors see these pages.",
    )


class SignInForm(auth_forms.AuthenticationForm):
    helper = form_helper(label="Sign in")


class PasswordChangeForm(auth_forms.PasswordChangeForm):
    helper = form_helper(label="Change password")


class PasswordResetForm(auth_forms.PasswordResetForm):
    helper = form_helper(label="Send the link")

    def get_users(self, email: str) -> Iterator[User]:
        """Yield the account to write to, unless it was written to a moment ago.

        Anybody can ask for a mail, and nobody must be able to fill a mailbox by it.
        """
        for user in super().get_users(email):
            if cache.add(f"password-reset-{user.pk}", True, timeout=RESET_PAUSE_SECONDS):
                yield user


class SetPasswordForm(auth_forms.SetPasswordForm):
    helper = form_helper(label="Set password")


class UserAddForm(auth_forms.UserCreationForm):
    role = role_field()

    class Meta:
        model = User
        fields = ("username", "email", "first_name", "last_name")


class UserEditForm(auth_forms.UserChangeForm):
    role = role_field()
    # The administration sets it on the form of the administrator's own account.
    is_own_account = False

    class Meta:
        model = User
        fields = ("username", "email", "first_name", "last_name", "is_active")

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # A user who may only look gets a form without these fields.
        group = self.instance.groups.first()
        if "role" in self.fields and group is not None:
            self.fields["role"].initial = group.name
        if self.is_own_account:
            for name in {"role", "is_active"} & self.fields.keys():
                self.fields[name].disabled = True
                self.fields[name].help_text = "Another administrator can change this."
