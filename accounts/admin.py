"""User administration: accounts and roles, and no way to grant more than a role."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group

from accounts.forms import UserAddForm, UserEditForm
from accounts.models import User
from accounts.services import user_set_role

# Roles are part of the release: a group edited here would drift from `accounts.roles`.
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    form = UserEditForm
    add_form = UserAddForm
    list_display = ("username", "email", "first_name", "last_name", "role", "is_active")
    list_filter = ("groups", "is_active")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("role", "is_active", "last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("role",)}),
    )

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="role")
    def role(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())

    def get_form(self, request, obj=None, **kwargs):
        # Every request gets a form class of its own, so that this holds for no other form.
        form = super().get_form(request, obj, **kwargs)
        if obj is not None:
            form.is_own_account = obj.pk == request.user.pk
        return form

    def save_related(self, request, form, formsets, change):
        super().save_related(request, form, formsets, change)
        user_set_role(user=form.instance, role=form.cleaned_data["role"])

    def has_change_permission(self, request, obj=None):
        # A person who can set a superuser's password is one: the command line alone changes those.
        if obj is not None and obj.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request, obj=None):
        # Studies name who uploaded them: an account is closed, never deleted.
        return False
